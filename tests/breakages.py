"""Deliberate breakages of the protocol: one replacement in one file each. `python -m tests.mutants` asks whether some test notices.

The first sixteen are those of the prototype.  Its random walk did not notice four of them (the marked ones): directed tests do.
"""

from dataclasses import dataclass

LUA = "ledger/lua/"


@dataclass(frozen=True, slots=True)
class Mutant:
    """`path` is under aitbc/; `before` must be there exactly once."""

    name: str
    path: str
    before: str
    after: str = ""


def _lua(name: str, verb: str, before: str, after: str = "") -> Mutant:
    return Mutant(name, f"{LUA}{verb}.lua", before, after)


PROTOTYPE = (
    _lua("place ignores full before", "agent", "if free or A._shown then", "if free then"),
    _lua(
        "sweep without match",
        "sweep_match",
        "if #grants < GRANTS and call('EXISTS', score_key(head:match('^(.*):'))) == 1 and oldest(head) then look(head) end",
    ),
    _lua("settle grants nothing", "grant", "while has_slot(A) and not had_room do", "while false do"),
    _lua("no refresh before match", "finish", "  refresh(a, A)\n  place(a, A) -- shown", "  -- shown"),
    _lua(
        "begin lets anyone begin", "lifecycle", "if L.token == token and L.worker == worker and not L.cancelling then return", "do return"
    ),
    _lua("begin ignores the agent's status", "lifecycle", "if room(A) == 0 then return nil, 'refused', L end"),
    _lua("cancel frees a begun lease *", "cancel", "if running and not T.token then", "if running then"),
    _lua("cancel may lengthen a lease *", "cancel", "call('ZADD', LEASES, 'LT', now + SLACK, id)", "call('ZADD', LEASES, now + SLACK, id)"),
    _lua("head not kept", "order", "if first[1] then call('ZADD', HEADS, head_score(rank, first[2]), head) else", "if not first[1] then"),
    _lua("begin does not revive its worker *", "grant", "call('ZADD', WORKERS, now + WORKER_TTL, by.worker)"),
    _lua("resume without match", "pause", "for _, head in ipairs(heads_of(rank)) do match(head:match('^(.*):'), grants) end"),
    _lua("retry by hand keeps its stamp *", "retry", "T.stamp = nil"),
    _lua(
        "health's drift not scheduled",
        "agent",
        "if tenth < 10 then call('ZADD', DRIFT, now + DRIFT_TIME * math.log((1 - score) / (0.95 - tenth / 10)) + S, a) end",
    ),
    _lua("finish takes any token", "finish", "if T.token ~= token then return {'unknown'} end"),
    _lua(
        "finish does not keep its reply",
        "finish",
        " .. '|' .. digest .. ' ' .. state .. ' ' .. table.concat(grants, ' ')",
    ),
    _lua(
        "match serves its own signature only",
        "grant",
        "local t, s, rank = best(a)\n    if not t",
        "local t, s, rank\n    for q = 4, 0, -1 do\n      local x = not setting(tostring(q))"
        " and call('ZRANGE', WAITING .. sig .. ':' .. q, 0, 0)[1]\n"
        "      if x then t, s, rank = x, sig, q end\n    end\n    if not t",
    ),
)

GRANTS = (
    _lua(
        "a half open agent has all its slots",
        "agent",
        "return A.breaker == 'half_open' and 1 or A.max_concurrency",
        "return A.max_concurrency",
    ),
    _lua("an agent leaves agents:active late", "agent", "call(listed and 'SADD' or 'SREM', ACTIVE, a)", "call('SADD', ACTIVE, a)"),
    _lua("a grant is not counted at once", "grant", "A.active, A._seq, A.used = A.active + 1,", "A.active, A._seq, A.used = A.active,"),
    _lua("what is over the limit of grants is forgotten", "grant", "call('SADD', UNSETTLED, a)"),
    _lua("the lowest priority first", "order", "for p = 0, 4 do", "for p = 4, 0, -1 do"),
    _lua(
        "a paused queue is granted",
        "order",
        "not setting(tostring(p)) and first_head(",
        "first_head(",
    ),
    _lua("an agent is granted what it does not fit", "agent", "if not terms:find('\\n' .. term .. '\\n', 1, true) then return false end"),
    _lua("a health floor is ignored", "agent", " or tenth < tonumber(want.floor) then", " then"),
    _lua("the least recently used is not first", "agent", "load_of(strategy, A) * 2 ^ 39 + (A._seq or 0)", "load_of(strategy, A) * 2 ^ 39"),
    _lua("a tried agent is not spared", "grant", "      if b then", "      if false then"),
    _lua("route begins what is not its own unseen", "route", "call('HSET', TASK .. t, 'routed', token .. ' ' .. id)"),
    _lua("route begins what it cannot POST", "grant", "begins = t == wanted else", "begins = true else"),
    _lua("finish begins every grant", "grant", "nil, not grants[1] and by)", "nil, by)"),
    _lua("ranks are not told apart", "order", "return rank * RANK + stamp - ERA end", "return stamp - ERA end"),
    _lua("ageing weighs nothing", "order", "p * (RANK - AGEING)", "p * RANK"),
    _lua("a grant does not move its agent among equals", "agent", "if A.used or free ~= A._shown then", "if free ~= A._shown then"),
    _lua(
        "a route job that finds nothing leaves `queued`",
        "route",
        "if T.state == 'queued' and not own then become(t, 'queued', 'waiting', T.stamp) end",
    ),
)

LEASES = (
    _lua("a freed lease stays in its agent's set", "lifecycle", "call('SREM', OF_AGENT .. L.agent, id)"),
    _lua(
        "rematch shows the agent as it was",
        "lifecycle",
        "    refresh(a, A)\n    place(a, A)\n  end\n  return settle",
        "  end\n  return settle",
    ),
    _lua(
        "a lease that has ended stays in the record",
        "lifecycle",
        "call('HDEL', TASK .. t, 'lease', 'token', ",
        "call('HDEL', TASK .. t, 'token', ",
    ),
    _lua("a cancelled call's lease leaves the record", "cancel", "T.keeps_lease = running and T.token"),
    _lua("a retry is begun by the worker before", "lifecycle", "  drop_lease(t, 'worker')\n", "  drop_lease(t)\n"),
    _lua("a repeat is told another time", "submit", "if stamp ~= now then add('submitted_at', now) end"),
    _lua("a retry by hand is submitted anew", "retry", "if T.stamp then call('HSETNX', TASK .. t, 'submitted_at', T.stamp) end"),
    _lua(
        "a task's own max_attempts is forgotten",
        "submit",
        "if tonumber(attempts) ~= USUAL_ATTEMPTS then add('max_attempts', attempts) end",
    ),
    _lua(
        "a task's own run_timeout is forgotten",
        "submit",
        "if tonumber(run) ~= USUAL_RUN then add('run_timeout', run) end",
    ),
    _lua("an automatic retry goes to the end", "lifecycle", "T.stamp or new_stamp()", "new_stamp()"),
    _lua("max_attempts 1 is sent again", "lifecycle", "if LOST[how] and most == 1 then how, code = 'final', 'outcome_unknown' end"),
    _lua("work that never started is counted", "lifecycle", "if how == 'counted' then counted", "if how ~= 'crash' then counted"),
    _lua(
        "no limit of dispatches",
        "lifecycle",
        "if how ~= 'final' and sends >= MAX_DISPATCHES then how, code = 'final', 'dispatch_limit' end",
    ),
    _lua("no poison", "lifecycle", "if crashes >= MAX_CRASHES then how, code = 'final', 'poison' end"),
    _lua("neighbours of a suspect are blamed", "sweep_leases", "(not suspect or id == suspect) and 'crash' or 'lost'", "'crash'"),
    _lua("two suspects in one worker", "grant", "not (is_suspect(T) and call('HEXISTS', SUSPECTS, worker) == 1)", "true"),
    _lua("a repeat with another answer is taken for the same", "finish", "if same ~= digest then return {'different'} end"),
    _lua(
        "a cancelled task is completed all the same", "finish", "A, running = agent(a), T.state == 'running'", "A, running = agent(a), true"
    ),
    _lua("a cancelled lease is begun again", "lifecycle", " and not L.cancelling then return needs", " then return needs"),
    _lua("a 202 lives by its worker", "renew", "call('SREM', OF_WORKER .. L.worker, id)"),
    _lua("renewal goes past the deadline", "renew", "math.min(now + RENEWAL, tonumber(L.deadline))", "now + RENEWAL"),
    _lua("a heartbeat goes past the deadline", "heartbeat", "math.min(now + RENEWAL, tonumber(L.deadline))", "now + RENEWAL"),
    _lua("an agent renews another's lease", "heartbeat", "if L.lease ~= id or L.agent ~= a then", "if L.lease ~= id then"),
    _lua("anyone may disown", "disown", "L.worker ~= worker or "),
    _lua("an agent is not told of a cancel", "cancel", "call('SADD', CANCEL_AGENT .. T.agent, id)"),
    _lua("a retry by hand does not wait for the cancelled call", "retry", "if T.lease then return {'busy'} end"),
    _lua("a retry by hand goes on counting", "retry", "'counted', 'crashes', "),
)

SUBMITS_AND_SWEEPS = (
    _lua("an Idempotency-Key is ignored", "submit", "if key ~= '' then t = call('GET', IDEMPOTENCY .. key) or t end"),
    _lua("another body is the same task", "submit", "before.digest == digest and 'exists' or 'conflict'", "'exists'"),
    _lua("one live task too many", "signature", "(n.cancelled or 0) < MAX_LIVE", "(n.cancelled or 0) <= MAX_LIVE"),
    _lua("retries by hand are unbounded", "retry", "if not may_live() then return {'full'} end"),
    _lua("a new agent is registered in a full Redis", "register", "if old then pass_when_full() end", "pass_when_full()"),
    _lua("one signature too many", "signature", "call('ZCARD', SIGS) < MAX_SIGS", "call('ZCARD', SIGS) <= MAX_SIGS"),
    _lua("an agent that came to fit more grants nothing", "grant", "if tonumber(A._tenth) ~= tenth then had_room = nil end"),
    _lua("an agent with room grants what has jobs under way", "grant", " and not had_room"),
    _lua("the sweep takes what has jobs under way", "sweep_match", "now - since >= PATIENCE", "true"),
    _lua("the sweep never takes a queued task", "sweep_match", "now - since >= PATIENCE", "false"),
    _lua("a repeat does not publish again", "submit", "before.state == 'queued' and 1 or 0", "0"),
    _lua("a submit pushes no job and wants none", "submit", "pushed(queue, job) and 0 or 1", "0"),
    _lua("a full Redis takes no job", "push", "pass_when_full()\n"),
    _lua("a queue that is something else stops a submit half way", "submit", "redis.pcall", "call"),
    _lua("a signature's live tasks are never fewer", "lifecycle", "call('HINCRBY', SIG .. T.sig, 'live', '-1')"),
    _lua(
        "a granted lease is never handed back",
        "sweep_leases",
        "if now - L.granted_at >= 120 * S then return hand_back(id, L, 0, grants) end",
    ),
    _lua("a lost job is never sent again", "sweep_leases", "grants[#grants + 1] = id .. ' ' .. L.priority .. ' ' .. (L.retries or '0')"),
    _lua("the coordinator's absence is the agents' silence", "sweep_clock", "call('HSET', LEDGER, 'grace', now)"),
    _lua("a clock set back is not noticed", "sweep_clock", "if now < swept then call('HSET', LEDGER, 'rewound', '1 0') end"),
    _lua(
        "a breaker that is due is not probed",
        "sweep_agents",
        "NX', now + A._timeout, a) end\n  end\n  settle(a, grants)",
        "NX', now + A._timeout, a) end\n  end",
    ),
    _lua("a risen health matches nothing", "sweep_agents", "call('ZREM', DRIFT, a)\n  settle(a, grants)", "call('ZREM', DRIFT, a)"),
    _lua("a breaker never opens", "feedback", "if fails >= BREAKER_AFTER or", "if"),
    _lua("a heartbeat ends a maintenance", "heartbeat", "if A.status == 'inactive' then", "if A.status ~= 'active' then"),
    _lua("clear takes what came after it", "clear", "'-inf', limit, 'LIMIT'", "'-inf', '+inf', 'LIMIT'"),
    _lua(
        "a queue timeout is met by a grant alone",
        "sweep_tasks",
        "if T.state == 'running' then return call('ZADD', TIMEOUTS, now + S, t) end",
        "if T.state == 'running' then return call('ZREM', TIMEOUTS, t) end",
    ),
    _lua("due tasks are not matched", "sweep_tasks", "for _, sig in ipairs(sigs) do match(sig, grants) end"),
    _lua(
        "a cancelled call is trimmed under its lease",
        "sweep_tasks",
        "if call('HEXISTS', TASK .. t, 'lease') == 0 then erase(t, state) end",
        "erase(t, state)",
    ),
    _lua("an Idempotency-Key outlives its task", "lifecycle", "if key then call('DEL', IDEMPOTENCY .. key) end"),
    _lua("a full Redis stops the sweep", "prelude", "call('ZREM', LEASES, '')"),
)

OUTCOMES = (
    Mutant("429 counts as an attempt", "dispatch/outcome.py", "429: Meaning(Verdict.UNSTARTED", "429: Meaning(Verdict.COUNTED"),
    Mutant(
        "an unreadable answer is sent again", "dispatch/outcome.py", "Verdict.COUNTED if idempotent else Verdict.FINAL", "Verdict.COUNTED"
    ),
    Mutant("X-Task-No-Retry is ignored", "dispatch/outcome.py", '_is_true(headers, "x-task-no-retry")', "False"),
    Mutant(
        "a redirect is a success",
        "dispatch/outcome.py",
        "3: _REDIRECT",
        "3: Meaning(Verdict.COMPLETED, AgentSays.OK, ErrorCode.REDIRECT_REFUSED)",
    ),
    Mutant("celery revoke is no cancel", "tasks/upkeep.py", "return await _revoke()", "return None"),
    Mutant("a worker declared dead keeps its id", "tasks/upkeep.py", "here.rename()", "pass"),
    Mutant(
        "a stopping worker leaves its call to the sweep",
        "tasks/attempts.py",
        "await _finish(here, attempt, token, WORKER_STOPPED, spare=None)",
        "pass",
    ),
)

MUTANTS: tuple[Mutant, ...] = (*PROTOTYPE, *GRANTS, *LEASES, *SUBMITS_AND_SWEEPS, *OUTCOMES)
