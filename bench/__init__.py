"""What the service costs: beside other receivers, by size, and in instructions."""
