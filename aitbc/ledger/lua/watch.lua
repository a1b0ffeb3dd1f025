-- needs: order
-- watch(task): from now on each of its states and its progress goes into the stream, not its end alone.
-- Returns {state, ended at or '', id of the newest entry or ''}: nothing falls between state and id; {} for an unknown task.
local t = ARGV[1]
local T = get(TASK .. t, {'state', 'ended_at', 'watched'})
if not T.state then return {} end
if not T.watched then
  pass_when_full()
  call('HSET', TASK .. t, 'watched', 1)
end
local newest = call('XREVRANGE', EVENTS, '+', '-', 'COUNT', 1)[1]
return {T.state, T.ended_at or '', newest and newest[1] or ''}
