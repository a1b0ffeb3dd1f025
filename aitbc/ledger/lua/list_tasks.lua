-- list_tasks(state or all, rank or '', agent or '', limit, score, last, owner or ''): hashes, newest first, after the task `last` at `score`.
-- Looks at 2,000 at most, and stops after PAGE_BYTES. Returns {'score task' of the last one looked at or '' at the end, hashes…}.
local state, rank, wanted, limit, score, last, owner = unpack(ARGV)
limit = tonumber(limit)
local key, wanted_state = TASKS .. state, ''
if owner ~= '' then key, wanted_state = OWN_TASKS .. owner, state ~= 'all' and state or '' end
local found, looked, bytes, ended = {}, 0, 0, false
local function matches(t)
  if rank == '' and wanted == '' and wanted_state == '' then return true end
  local T = get(TASK .. t, {'priority', 'agent', 'state'})
  return (wanted_state == '' or T.state == wanted_state) and (rank == '' or T.priority == rank) and (wanted == '' or T.agent == wanted)
end
local function full() return #found >= limit or looked >= 2000 or bytes > PAGE_BYTES end
local function take(page)
  for i = 1, #page, 2 do
    local t, at = page[i], page[i + 1]
    if not (at == score and last ~= '' and t >= last) then -- equal scores are read in falling order of ids
      if full() then return end
      looked = looked + 1
      if matches(t) then
        local fields, size = whole(TASK .. t)
        bytes = bytes + size
        fields[#fields + 1] = 'task_id'
        fields[#fields + 1] = t
        found[#found + 1] = fields
      end
      score, last = at, t
    end
  end
end
repeat
  local before = looked
  local page = call('ZREVRANGEBYSCORE', key, score, '-inf', 'WITHSCORES', 'LIMIT', 0, 300)
  take(page)
  ended = #page < 600 and not full()
until ended or full() or looked == before
return {(ended or looked == 0) and '' or score .. ' ' .. last, unpack(found)}
