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
        "if #grants < GRANTS and call('EXISTS', score_key(sig_of(head))) == 1 and oldest(head) then look(head) end",
    ),
    _lua("settle grants nothing", "grant", "while has_slot(A) and not had_room do", "while false do"),
    _lua("no refresh before match", "finish", "    refresh(a, A)\n    place(a, A) -- shown", "    -- shown"),
    _lua(
        "begin lets anyone begin", "lifecycle", "if L.token == token and L.worker == worker and not L.cancelling then return", "do return"
    ),
    _lua("begin ignores the agent's status", "lifecycle", "if room(A) == 0 then return nil, 'refused', L end"),
    _lua("cancel frees a begun lease *", "cancel", "if running and not T.token then", "if running then"),
    _lua("cancel may lengthen a lease *", "cancel", "call('ZADD', LEASES, 'LT', now + SLACK, id)", "call('ZADD', LEASES, now + SLACK, id)"),
    _lua("head not kept", "order", "if stamp then call('ZADD', HEADS, int(head_score(rank, stamp)), head) else", "if not stamp then"),
    _lua("begin does not revive its worker *", "grant", "call('ZADD', WORKERS, now + WORKER_TTL, by.worker)"),
    _lua("resume without match", "pause", "for _, head in ipairs(heads_of(rank)) do match(sig_of(head), grants) end"),
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
        "local a, oldest = pick(sig)\n    if not oldest then break end\n    local T",
        "local a, oldest = (pick(sig))\n    for q = 4, 0, -1 do\n      local head = sig .. ':' .. q\n"
        "      local x = not setting(tostring(q)) and call('ZRANGE', WAITING .. head, 0, 1, 'WITHSCORES')\n"
        "      if x and x[1] then oldest = {t = x[1], head = head, sig = sig, rank = tostring(q), behind = x[4]} end\n    end\n"
        "    if not oldest then break end\n    local T",
    ),
)

WIDE = (
    _lua("a script's sums are not written", "prelude", "for field, n in pairs(fields) do call('HINCRBY', key, field, n) end"),
    _lua("a script counts its first step only", "prelude", "(sums[key][field] or 0) + n", "sums[key][field] or n"),
    _lua(
        "a step that fails takes the others along",
        "prelude",
        "pcall(step, unpack(ARGV, i, i + width - 1))",
        "true, step(unpack(ARGV, i, i + width - 1))",
    ),
    _lua("the one behind a grant does not lead its list", "grant", "set_head(best.head, best.rank, best.behind)"),
    _lua("an ended task's result takes no room", "lifecycle", "#(T.result or '')", "0"),
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
    _lua("members that no step reads are not written", "prelude", "  write_kept()\n  for key, fields", "  for key, fields"),
    _lua("a member that left its set stays", "prelude", "for key, set in pairs(kept) do write_set(key, set, true) end"),
    _lua("more members at once than Lua unpacks", "prelude", "if #words >= 4000 then", "if #words >= 40000 then"),
    _lua("the lowest priority first", "order", "for p = 0, 4 do", "for p = 4, 0, -1 do"),
    _lua(
        "a paused queue is granted",
        "order",
        "not setting(tostring(p)) and first_head(",
        "first_head(",
    ),
    _lua("an agent is granted what it does not fit", "agent", "if not terms:find('\\n' .. term .. '\\n', 1, true) then return false end"),
    _lua("a health floor is ignored", "agent", " or tenth < tonumber(want.floor) then", " then"),
    Mutant("the least recently used is not first", "ledger/scripts.py", " * 2 ^ 39 + (A._seq or 0)", " * 2 ^ 39"),
    _lua("a tried agent is not spared", "grant", "      if b then", "      if false then"),
    _lua("route begins what is not its own unseen", "route", "call('HSET', TASK .. t, 'routed', token .. ' ' .. id)"),
    _lua("route begins what it cannot POST", "grant", "begins = oldest.t == wanted else", "begins = true else"),
    _lua("finish begins every grant", "grant", "nil, not grants[1] and by)", "nil, by)"),
    _lua("ranks are not told apart", "order", "return rank * RANK + stamp - ERA end", "return stamp - ERA end"),
    _lua("ageing weighs nothing", "order", "p * (RANK - AGEING)", "p * RANK"),
    _lua("a grant does not move its agent among equals", "agent", "if A.used or free ~= A._shown then", "if free ~= A._shown then"),
    _lua(
        "a route job that finds nothing leaves `queued`",
        "route",
        "become(t, 'queued', 'waiting', T.stamp)",
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
    _lua("one signature too many", "signature", "call('ZCARD', SIGS) >= MAX_SIGS", "call('ZCARD', SIGS) > MAX_SIGS"),
    _lua("an agent that came to fit more grants nothing", "grant", "if tonumber(A._tenth) ~= tenth then had_room = nil end"),
    _lua("an agent with room grants what has jobs under way", "grant", " and not had_room"),
    _lua("the sweep takes what has jobs under way", "sweep_match", "now - since >= PATIENCE", "true"),
    _lua("the sweep never takes a queued task", "sweep_match", "now - since >= PATIENCE", "false"),
    _lua("a repeat does not publish again", "submit", "before.state == 'queued' and 1 or 0", "0"),
    _lua("a submit pushes no job and wants none", "submit", "pushed(queue, job) and 0 or 1", "0"),
    _lua("a full Redis takes no job", "push", "pass_when_full()\n"),
    _lua("a queue that is something else stops a submit half way", "submit", "redis.pcall", "call"),
    _lua("a signature's live tasks are never fewer", "lifecycle", "count(SIG .. T.sig, 'live', -1)"),
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
    _lua(
        "an Idempotency-Key outlives its task", "lifecycle", "if T.idempotency_key then call('DEL', IDEMPOTENCY .. T.idempotency_key) end"
    ),
    _lua("a full Redis stops the sweep", "prelude", "call('ZREM', LEASES, '')"),
)

STRATEGIES = (
    _lua("every weight has the same turn", "grant", "math.max(0.001, A.weight or 1)", "1"),
    _lua("a tiny weight has a turn beyond all numbers", "grant", "math.max(0.001, A.weight or 1)", "(A.weight or 1)"),
    _lua("an agent that was away catches up", "grant", "call('HGET', SIG .. sig, 'round') or setting('round') or 0", "0"),
    _lua("one round for all signatures", "grant", "call('HGET', SIG .. sig, 'round') or setting('round')", "setting('round')"),
    _lua("a new signature begins at no round", "grant", "or setting('round') or 0)\n", "or 0)\n"),
    _lua(
        "turns are taken by the deciding strategy only",
        "prelude",
        "settings[settings.next_strategy or strategy] = true, true",
        "settings[strategy] = true, true",
    ),
    _lua("the last answer is the mean", "feedback", "A._rt + 0.1 * (took - A._rt)", "took"),
    _lua(
        "an agent that is forgiven keeps its place",
        "sweep_agents",
        "else call('ZREM', STALE, a) end\n  settle(a, grants)",
        "else call('ZREM', STALE, a) end",
    ),
    _lua("all keys are one", "grant", "local point = (start + i * stride) % 2 ^ 48", "local point = i * 2 ^ 44"),
    _lua("retries leave the ring", "grant", "setting('strategy') == 'consistent_hash' and near_on_ring(sig, t) or {}", "{}"),
    _lua(
        "the next epoch is scored as this one",
        "agent",
        "score_of(strategy, a, A)",
        "score_of(setting('strategy') or DEFAULT_STRATEGY, a, A)",
    ),
    _lua(
        "the fleet's round is the sweep's turn",
        "grant",
        "call('HSET', LEDGER, 'round', int(round))",
        "call('HSET', LEDGER, 'turn', int(round))",
    ),
    _lua("response times are not taken", "finish", "if says == 'ok' and is_timed() then time(a, A, now - fields_of(T[line])[4]) end"),
    _lua("a slow moment is never forgiven", "sweep_agents", "or 0) / 2) or 0", "or 0)) or 0"),
    _lua("response times outlive their strategy", "sweep_agents", "is_timed() and math.floor(", "math.floor("),
    _lua("a response time is never forgotten", "feedback", "call('ZADD', STALE, int(now + math.max(FORGET, 4 * A._rt)), a)"),
    _lua("a forgotten agent leaves its response time", "agent", "DRIFT, STALE, SILENT", "DRIFT, SILENT"),
    _lua(
        "a loaded agent of the ring is not passed over",
        "grant",
        "if active[i] < math.ceil(1.25 * sum / #found) then return a end",
        "return a",
    ),
    _lua("the ring is not closed", "grant", "if not next[1] then next = call('ZRANGE', key, 0, 0, 'WITHSCORES') end"),
    _lua("an affinity key is ignored", "grant", "of.affinity or (of.task_data or ''):sub(1, HASHED)", "t"),
    _lua("an affinity key is forgotten", "submit", "if affinity ~= '' then add('affinity', affinity) end"),
    _lua("all of the data is hashed", "grant", ":sub(1, HASHED)"),
    _lua("a better task is not asked for its agent", "grant", "if oldest.t == t then break end", "break"),
    _lua("consistent_hash takes the first on the ring", "grant", "setting('strategy') ~= 'consistent_hash'", "true"),
    _lua("a report counts in the next epoch only", "heartbeat", "setting('strategy') == 'resource_based' or "),
    _lua("a switch fills no sets", "rescore", "if A then place(a, A) end"),
    _lua("a switch flips at once", "rescore", "if found[1] ~= '0' then", "if false then"),
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

KEYS = (
    _lua("one signature of a key too many", "signature", "by, 1) <= SIGS_SHARE", "by, 1) <= SIGS_SHARE + 1"),
    _lua("a refused signature is counted as brought", "signature", "  call('HINCRBY', BROUGHT, by, -1)\n", ""),
    _lua("a trimmed task stays in its owner's list", "lifecycle", "if T.owner then call('ZREM', OWN_TASKS .. T.owner, t) end"),
    _lua("an agent that is gone stays in its owner's list", "agent", "if owner then call('ZREM', OWN_AGENTS .. owner, a) end"),
    _lua("any key registers over any agent", "register", "and (owned or old._secret) and old._secret ~= may then", "and false then"),
    _lua(
        "an agent moves and stays in the old list", "register", "if owned and owned ~= owner then call('ZREM'", "if false then call('ZREM'"
    ),
    _lua("a state's filter is not for owners", "list_tasks", "(wanted_state == '' or T.state == wanted_state) and ", ""),
    _lua("a key that has changed is changed", "set_api_key", "if found ~= was then return 0 end"),
    Mutant("any key may make any call", "web/access.py", "if not known.may(Scope(need)):", "if False:"),
    Mutant("another key's task is there", "web/access.py", "if owner() and belongs_to != owner():", "if False:"),
    Mutant("an expired key is good", "ledger/access.py", "alive = not known.expires or now < known.expires", "alive = True"),
    Mutant("an old text is good for ever", "ledger/access.py", " and now < known.old_until", ""),
    Mutant("off loopback nobody is asked", "settings.py", "bool(self.admin_key or not self.on_loopback)", "bool(self.admin_key)"),
    Mutant("a refusal is remembered as good", "web/keyring.py", "if until < 0 or found.key is None:", "if found.key is None:"),
    Mutant("idempotency keys are everybody's", "web/tasks.py", 'f"{owner}\\t{key}" if key else ""', "key"),
)

OUTBOX = (
    _lua("an end is not put into the outbox", "lifecycle", "if T.callback then call('ZADD', CALLBACKS, at, t) end"),
    _lua("finish forgets the callback_url", "finish", "'callback', 'told', line})", "'told', line})"),
    _lua("a trimmed task stays in the outbox", "lifecycle", "T.callback and call('ZREM', CALLBACKS, t) == 1", "false"),
    _lua("a retry by hand leaves it in the outbox", "retry", "if T.callback then call('ZREM', CALLBACKS, t) end"),
    _lua("two workers take the same", "callbacks_due", "call('ZADD', CALLBACKS, int(now + CALLBACK_LEASE), t)"),
    _lua("a delivered one stays", "callback_done", "call('ZREM', CALLBACKS, t)"),
    _lua("a repeat counts a try twice", "callback_done", "if T.callback_tries == try then return 'due' end"),
    _lua("tries without end", "callback_done", "tonumber(try) >= CALLBACK_TRIES", "false"),
    _lua(
        "an end before a retry by hand is told for the one after",
        "callback_done",
        "if (T.retries or '0') ~= retries then return 'stale' end",
    ),
    _lua("a clock set back delays the outbox", "sweep_clock", "{CALLBACKS, function() return CALLBACK_PAUSE end},"),
    _lua("a full Redis stops the outbox", "callback_done", "pass_when_full()\n"),
    _lua("a watched task's grant is not told of", "grant", "if T.watched then tell(t, 'running', 'a', a) end"),
    _lua("a watched task's retry is not told of", "lifecycle", "if T.watched then tell(t, T.state) end"),
    _lua("every task is told of all through", "grant", "if T.watched then tell(t, 'running', 'a', a) end", "tell(t, 'running', 'a', a)"),
)

MUTANTS: tuple[Mutant, ...] = (*PROTOTYPE, *WIDE, *GRANTS, *LEASES, *SUBMITS_AND_SWEEPS, *STRATEGIES, *OUTBOX, *OUTCOMES, *KEYS)
