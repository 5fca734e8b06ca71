"""One typed httpx client for each peer."""
