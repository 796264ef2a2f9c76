"""The application: routes, and what they say. Requests and messages in, responses and replies out."""
