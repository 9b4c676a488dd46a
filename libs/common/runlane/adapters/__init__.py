"""One package per technology; only a room's `app.py` imports from here."""
