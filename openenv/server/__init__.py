"""The shell: sockets and processes. Everything that touches the operating system starts here."""
