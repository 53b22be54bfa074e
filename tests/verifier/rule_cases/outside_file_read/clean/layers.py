depth = 11
