"""Where the fleets of a sweep are trained: processes of this machine, Ray, or SLURM."""
