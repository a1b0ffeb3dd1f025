-- push((queue, job) ...)
-- Puts jobs into their queues: those of work that is accepted, so it passes when Redis is out of memory. The lists are Celery's: one that
-- is something else by now takes none, and the sweep makes its jobs good.
-- Returns nothing.
pass_when_full()
for i = 1, #ARGV, 2 do redis.pcall('LPUSH', ARGV[i], ARGV[i + 1]) end
