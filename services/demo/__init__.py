"""What Attune can do, shown: a simulated shop with known effects, the story told on it, replays of real data.

Everything here is a client of the services, over HTTP, as a campaign tool would be.
"""
