-- set_api_key(id, was, record, what, who): an API key's record, '' = none, if it still is as it `was`; the audit stream tells of it.
-- Returns 1, also in a repeat; 0 when it is another by now; -1 when there are too many.
local id, was, record, what, who = unpack(ARGV)
local found = call('HGET', API_KEYS, id) or ''
if found == record then return 1 end
if found ~= was then return 0 end
if was == '' and call('HLEN', API_KEYS) >= MAX_API_KEYS then return -1 end
if record == '' then pass_when_full() end -- a revocation passes when Redis is out of memory
if record == '' then call('HDEL', API_KEYS, id) else call('HSET', API_KEYS, id, record) end
call('HSET', LEDGER, 'keyed', 1)
call('XADD', AUDIT .. 'keys', 'MAXLEN', '~', KEEP_AUDIT, '*', 'who', who, 'what', what, 'target', id, 'request', '', 'from', '')
return 1
