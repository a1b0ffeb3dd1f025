-- read_audit(kind, most): {{entry's id, {name, value…}}…}, newest first.
return call('XREVRANGE', AUDIT .. ARGV[1], '+', '-', 'COUNT', ARGV[2])
