"""A worker takes runs that nobody else has, trains them as fleets, and uploads what they give."""
