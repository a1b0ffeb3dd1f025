-- workers(): how many are alive.
return call('ZCOUNT', WORKERS, string.format('%.0f', now), '+inf')
