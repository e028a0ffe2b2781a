"""Push messages to browsers: subscribing, proof that one arrived, and what the service worker needs. The way out is
`channels/push.py`; the worker itself is `static/js/sw.js`."""
