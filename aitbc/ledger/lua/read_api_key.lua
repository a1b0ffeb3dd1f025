-- read_api_key(id): {record or '', now µs, 1 when an API key was ever made}.
return {call('HGET', API_KEYS, ARGV[1]) or '', at, call('HEXISTS', LEDGER, 'keyed')}
