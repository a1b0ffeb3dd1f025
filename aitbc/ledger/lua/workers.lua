-- workers(): how many take jobs.
return call('ZCOUNT', POLLING, string.format('%.0f', now), '+inf')
