"""Who holds what: how author code runs, what a session is, how many there may be."""
