"""One file per group of routes; the table that names them all is in `app/app.py`."""
