"""L3 and L5 recomputed by brute force inside every grant, compiled into the real scripts at their mark."""

from typing import Any

from aitbc.ledger import scripts
from aitbc.ledger.step import micros
from aitbc.settings import Settings
from tests.integration.ledger.desk import OFFSET, of_texts

MARK = "-- CHECK_GRANT (tests compile a checker in here)"
BAD = "test:bad"
"""A list: what the checker saw."""

CHECK = """
  do
    local function say(text) redis.call('RPUSH', 'test:bad', text) end
    local X = redis.call('HMGET', 'agent:' .. a, 'status', 'breaker', 'max_concurrency', '_terms', '_tenth', '_url')
    if X[1] ~= 'active' or X[2] == 'open' then say('granted to ' .. a .. ', ' .. X[1] .. ' ' .. tostring(X[2])) end
    if not X[6] or X[6] == '' then say('granted to ' .. a .. ', which has no endpoint') end
    local slots = X[2] == 'half_open' and 1 or tonumber(X[3])
    if redis.call('SCARD', 'leases:agent:' .. a) >= slots then say('L3 granted above the slots of ' .. a) end
    local mine = redis.call('HMGET', 'task:' .. t, 'priority', 'stamp', 'sig', 'state')
    if mine[4] ~= 'queued' and mine[4] ~= 'waiting' then say('granted ' .. t .. ', which is ' .. mine[4]) end
    if redis.call('HEXISTS', 'ledger', mine[1]) == 1 then say('granted ' .. t .. ' from a paused queue') end
    local function fits(s)
      local want = redis.call('HMGET', 'sig:' .. s, 'terms', 'floor', 'building')
      if tonumber(X[5]) < tonumber(want[2]) then return false end
      for term in want[1]:gmatch('[^\\n]+') do
        if not X[4]:find('\\n' .. term .. '\\n', 1, true) then return false end
      end
      return redis.call('SISMEMBER', 'agents:sigs:' .. a, s) == 1 or not want[3]
    end
    if not fits(mine[3]) then say('granted ' .. t .. ' to ' .. a .. ', which does not fit') end
    local function better(one, two)
      if AGEING > 0 then return one[2] + one[1] * AGEING < two[2] + two[1] * AGEING end
      if one[1] ~= two[1] then return tonumber(one[1]) < tonumber(two[1]) end
      return tonumber(one[2]) < tonumber(two[2])
    end
    for _, u in ipairs(redis.call('ZRANGE', 'tasks:all', 0, -1)) do
      local other = redis.call('HMGET', 'task:' .. u, 'priority', 'stamp', 'sig', 'state')
      local runnable = other[4] == 'queued' or other[4] == 'waiting'
      if runnable and better(other, mine) and redis.call('HEXISTS', 'ledger', other[1]) == 0 and fits(other[3]) then
        say('L5 ' .. t .. ' granted before ' .. u)
      end
    end
  end
"""


def checked(settings: Settings, constants: dict[str, int]) -> dict[str, Any]:
    """Every step's script with the checker in it, the tests' clock, and other values of these fixed constants."""
    check = CHECK.replace("AGEING", str(micros(settings.ageing)))
    loaded = scripts.load(settings, OFFSET, {**scripts.FIXED, **constants})
    texts = {name: script.text.replace(MARK, check) for name, script in loaded.items()}
    assert all(("local function grant(" in text) == (check in text) for text in texts.values())
    return of_texts(texts)
