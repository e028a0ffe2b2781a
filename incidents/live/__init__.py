"""Live pages: what happens to an incident appears in every browser that shows it.

`GET /live/incidents/<id>/?after=<seq>` and `GET /live/now/` are streams of server-sent events for who is signed in.
| event | stream | data |
| --- | --- | --- |
| `entry`, id = seq | incident | `templates/incidents/_entry.html` of one timeline entry; in order, without gaps |
| `slots` | incident | `templates/incidents/_slots.html`: elements by id, alike for all viewers |
| `reload` | incident | too many entries were missed: read the page again |
| `changed` | now | `{"ids": [42, 43]}`: incidents whose rows in a list are old |
| `page` | both | the viewer is called: page, incident, ref, severity, title, reason, answer_by, url |
| `here` | incident | who is in the room, when that changes: `{"people": [{"id", "name", "initials"}], "others": 0}` |
| `beat` | both | every 2 s while the server sees the database: `{"now": …}` |
| `bye` | both | the stream ends: `signed_out` or `restart` |
A browser that comes back sends Last-Event-ID, or `after`, and gets exactly what it has missed.
"""
