"""What do features know, what moves them, and where does a network look? Measured, for any checkpoint.

`features` reads them, `factors` says what is known of each picture, `probes` asks features for it, `pairs` changes one
factor at a time, `maps` looks where the pose comes from, `study` does all of it for several networks.
"""
