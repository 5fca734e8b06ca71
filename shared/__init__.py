"""What all three services need. No business rule lives here, and nothing here knows a service."""
