"""A worker takes runs that nobody else has, trains them as fleets, keeps and uploads the results."""
