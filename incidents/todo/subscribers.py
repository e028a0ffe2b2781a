"""What this part of the room does when something happens to an incident."""
