"""What travels between client and server, and how many bytes it takes."""
