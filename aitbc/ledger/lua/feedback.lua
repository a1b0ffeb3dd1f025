-- Feedback: what an answer says about its agent: sign of life, health, breaker, status. After agent; settle must follow.
local HEALTH_STEP, BREAKER_AFTER, LONGEST = 0.1, 5, 300 * S

-- For as long as the agent said (Retry-After), else 10 s and twice as long each time.
local function open_breaker(a, A, pause)
  local times = pause > 0 and (A._opened or 0) or (A._opened or 0) + 1
  local seconds = pause > 0 and pause or math.min(10 * S * 2 ^ (times - 1), LONGEST)
  call('HSET', AGENT .. a, 'breaker', 'open', '_opened', times, '_fails', '')
  call('ZADD', COOLDOWN, now + seconds, a)
  call('SREM', HALF_OPEN, a)
  A.breaker, A._opened, A._fails = 'open', times, nil
end

local function rate(a, A, good) -- an exponential mean of outcomes; a perfect agent writes nothing
  local was = health(A)
  if good == 1 and was > 0.9999 then return end
  A.health_score, A._health_at = was + HEALTH_STEP * (good - was), now
  call('HSET', AGENT .. a, 'health_score', A.health_score, '_health_at', now)
end

-- An answer after so many microseconds; kept while a strategy asks for it.
local function time(a, A, took)
  took = math.max(0, took) -- a clock set back
  A._rt = math.floor(A._rt and A._rt + 0.1 * (took - A._rt) or took)
  call('HSET', AGENT .. a, '_rt', int(A._rt))
  call('ZADD', STALE, int(now + math.max(FORGET, 4 * A._rt)), a) -- a call may take longer than that
end

-- says: ok; bad (counts towards the breaker); error (401, 403: probed after PROBE); gone (410); '' (nothing). pause: microseconds.
local function feed(a, A, says, pause)
  if says == '' then return end
  local timeout = tonumber(A._timeout)
  if says ~= 'bad' and timeout > 0 and A.status ~= 'inactive' then call('ZADD', ALIVE, int(now + timeout), a) end
  rate(a, A, says == 'ok' and 1 or 0)
  if says == 'ok' and pause > 0 and A.status == 'active' then return open_breaker(a, A, pause) end -- 408, 409, 425: not now
  if says == 'ok' then
    -- `error` waits for its probe: an earlier call's good answer must not take that away
    if A.status ~= 'error' and (A._fails or A._opened) then close_breaker(a, A) end
    return
  end
  if says == 'gone' then return set_status(a, A, 'draining') end
  if says == 'error' and A.status == 'active' then
    set_status(a, A, 'error')
    pause = PROBE
  end
  local fails = (A._fails or 0) + 1
  if fails >= BREAKER_AFTER or pause > 0 or A.breaker == 'half_open' then return open_breaker(a, A, pause) end
  A._fails = fails
  call('HSET', AGENT .. a, '_fails', fails)
end
