"""Pure rules of this part of the room."""
