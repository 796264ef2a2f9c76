"""Programs that try to get out of the coding environment's sandbox, or to hurt who runs it."""
