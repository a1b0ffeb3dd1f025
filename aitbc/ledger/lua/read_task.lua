-- read_task(task): its hash, field by field; {} for an unknown one.
return call('HGETALL', TASK .. ARGV[1])
