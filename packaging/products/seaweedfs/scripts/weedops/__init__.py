"""What the weed packages do on a host: configuration, launching, health, checks. Python 3.6, standard library only."""
