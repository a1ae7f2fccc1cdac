"""What the system tests stand on: a private PostgreSQL, the built server, people who use it, and clients.

Nothing here knows the server's code; it speaks HTTP, SQL and signals, as the world outside does.
"""
