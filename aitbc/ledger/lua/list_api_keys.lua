-- list_api_keys(): {now µs, id, record…}. They are MAX_API_KEYS at most.
return {at, unpack(call('HGETALL', API_KEYS))}
