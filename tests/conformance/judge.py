"""A second opinion on every choice, compiled into the real scripts at grant's mark: which agent the deciding strategy names.

It is worked out by brute force over all agents' records and leases, from what the strategies promise in docs/strategies.md, and shares no
line with aitbc/ledger/strategies/.  Means and quotients are compared as they are, so a cost within the strategies' steps of 0.2 % is equal.
"""

from typing import Any

from aitbc.ledger import scripts
from aitbc.settings import Settings
from tests.integration.ledger.desk import OFFSET, of_texts
from tests.properties.checker import MARK

CHOICE = "grants[#grants + 1] = grant(a, A, oldest, T, begins and by)"
"""In match; the signature that it serves is not told to grant."""
CHOSEN, WRONG = "test:chosen", "test:wrong"
"""Hash: strategy → choices; list: what was wrong."""

JUDGE = r"""
  if T then -- a choice among agents; a freed slot looks for a task instead
    local redis_call, deciding = redis.call, redis.call('HGET', 'ledger', 'strategy') or 'least_connections'
    local mine = redis_call('HMGET', 'task:' .. t, 'sig', 'affinity', 'task_data', 'tried')
    -- the free agents of the signature that is matched; consistent_hash asks the task that is granted
    local sig = deciding == 'consistent_hash' and mine[1] or settings.matched
    local want = redis_call('HMGET', 'sig:' .. sig, 'terms', 'building')
    local free = {}
    for _, b in ipairs(redis_call('ZRANGE', 'agents:all', 0, -1)) do
      local R = redis_call('HMGET', 'agent:' .. b, 'status', 'breaker', 'max_concurrency', '_terms', '_seq', 'weight', '_turn', '_rt',
        '_load', '_tenth', '_url')
      local live, fits = redis_call('SCARD', 'leases:agent:' .. b), R[1] == 'active' and R[2] ~= 'open' and R[11] and R[11] ~= ''
      if want[2] then fits = fits and redis_call('SISMEMBER', 'agents:sigs:' .. b, sig) == 1 end -- reached so far
      for term in want[1]:gmatch('[^\n]+') do fits = fits and R[4]:find('\n' .. term .. '\n', 1, true) end
      if fits and live < (R[2] == 'half_open' and 1 or tonumber(R[3])) then
        local took = tonumber(R[8] or '')
        local skills = 0
        for _ in R[4]:gmatch('\ncap:') do skills = skills + 1 end
        free[#free + 1] = {id = b, live = live, slots = tonumber(R[3]), seq = tonumber(R[5] or 0), turn = tonumber(R[7] or 0),
          report = tonumber(R[9] or '') or 0, tenth = math.max(1, tonumber(R[10])), skills = skills,
          wait = (took or live * 1e6) / 1000 * (live + 1), at = tonumber(redis.sha1hex(b):sub(1, 12), 16)}
      end
    end
    local cost = {
      least_connections = function(x) return x.live end,
      round_robin = function(x) return x.seq end,
      weighted_round_robin = function(x) return x.turn end,
      least_response_time = function(x) return 1 + x.wait end,
      resource_based = function(x) return math.floor(4 * x.report + 4096 * x.live / x.slots) end,
      capability_based = function(x) return x.skills * 1000 + math.floor(63 * x.live / x.slots) end,
      predictive = function(x) return 1 + x.wait / x.slots / (x.tenth / 10) end,
    }
    local slack = (deciding == 'least_response_time' or deciding == 'predictive') and 1.0021 or 1
    local function near()
      local digest, ring = redis.sha1hex(mine[2] or mine[3]), 2 ^ 48
      local first, step = tonumber(digest:sub(1, 12), 16), tonumber(digest:sub(13, 24), 16)
      local met, total = {}, 1
      for i = 0, 6 do
        local nearest
        for _, x in ipairs(free) do
          local way = (x.at - first - i * step) % ring
          if not nearest or way < nearest.way then nearest = {x = x, way = way} end
        end
        if not met[nearest.x.id] then total = total + nearest.x.live end
        if not met[nearest.x.id] or nearest.way < met[nearest.x.id].way then met[nearest.x.id] = nearest end
      end
      local kinds, list = 0, {}
      for _, m in pairs(met) do kinds, list[#list + 1] = kinds + 1, m end
      table.sort(list, function(p, q) return p.way < q.way end)
      for _, m in ipairs(list) do
        if m.x.live < math.ceil(1.25 * total / kinds) then return m.x.id end
      end
    end
    local chosen, named
    for _, x in ipairs(free) do if x.id == a then chosen = x end end
    if mine[4] and mine[4] ~= '' then named = a -- a retry spares those that it has met
    elseif not chosen then named = 'one that is free'
    elseif deciding == 'consistent_hash' then named = near()
    else
      local least
      for _, x in ipairs(free) do
        if not least or cost[deciding](x) < cost[deciding](least) then least = x end
      end
      named = cost[deciding](chosen) <= cost[deciding](least) * slack and a or least.id
      if deciding == 'least_connections' then -- among equals the one used least recently
        for _, x in ipairs(free) do if x.live == chosen.live and x.seq < chosen.seq then named = x.id end end
      end
    end
    redis_call('HINCRBY', 'test:chosen', deciding, 1)
    if named ~= a then redis_call('RPUSH', 'test:wrong', deciding .. ': ' .. t .. ' went to ' .. a .. ', not ' .. named) end
  end
"""


def judged(settings: Settings, constants: dict[str, int]) -> dict[str, Any]:
    """Every step's script with the judge in it, and other values of these fixed constants."""
    loaded = scripts.load(settings, OFFSET, {**scripts.FIXED, **constants})
    texts = {name: item.text.replace(MARK, JUDGE).replace(CHOICE, f"settings.matched = sig\n    {CHOICE}") for name, item in loaded.items()}
    assert all((JUDGE in text) == ("local function grant(" in text) for text in texts.values())
    assert "settings.matched = sig" in texts["route"]
    return of_texts(texts)
