-- turn(worker, milliseconds): whose turn it is to sweep. Returns 1 when it is this worker's, for so long.
return call('SET', TURN, ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
