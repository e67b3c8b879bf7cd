-- The queue on Redis. Each call is one run of this script, so all of it happens or nothing.
--
-- KEYS[1] is the prefix of all keys, and its hash tag puts them into one slot of a cluster. ARGV[1] names the call, ARGV[2] has its arguments as JSON. Times are microseconds since 1970, by
-- the server's clock.
--
--   id                   the number that was given out last
--   job:<id>             a hash: what was asked for, and where the job is; gone when it is over
--   ready:<queue>        rank → id; scheduled: time → id; dead: time → id; blocked: a set
--   queues               the names of queues; scheduled_in, dead_in: how many jobs of each queue are there
--   workers              when each worker will seem dead; timeouts: how long that is after a heartbeat
--   leases               token → worker; leases_of:<worker>: tokens; lease:<token>: job → attempt, for jobs whose end is not recorded
--   parts:<token>        the numbers of what was recorded
--   children:<id>, parents:<id>, unique:<key>, paused, cancellation, result:<id>, progress:<id>, count

local redis_call = redis.call
local time = redis_call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

-- What is told of jobs that are over, and what was recorded of leases that are gone, is kept for so many seconds.
local KEEP_TOLD, KEEP_PARTS = 86400, 3600
local MAINTENANCE_BATCH, MAX_RESCUES = 1024, 16

local function key(kind, name)
    if name == nil then return KEYS[1] .. ':' .. kind end
    return KEYS[1] .. ':' .. kind .. ':' .. name
end

-- As text of equal length, so that jobs of the same rank are in the order of their numbers.
local function padded(id) return string.format('%016.0f', id) end
local function text(number) return string.format('%.0f', number) end
local function job_key(id) return key('job', text(id)) end
local function field(id, name) return redis_call('HGET', job_key(id), name) end
local function count(outcome) redis_call('HINCRBY', key('count'), outcome, 1) end

local function make_ready(id, due)
    local job = redis_call('HMGET', job_key(id), 'queue', 'priority')
    local rank = math.floor((due + 500) / 1000) + tonumber(job[2]) * 60000
    redis_call('SADD', key('queues'), job[1])
    redis_call('ZADD', key('ready', job[1]), text(rank), padded(id))
    redis_call('HSET', job_key(id), 'place', 'ready')
end

local function schedule(id, run_at)
    redis_call('ZADD', key('scheduled'), text(run_at), padded(id))
    redis_call('HINCRBY', key('scheduled_in'), field(id, 'queue'), 1)
    redis_call('HSET', job_key(id), 'place', 'scheduled')
end

local function unschedule(id)
    redis_call('ZREM', key('scheduled'), padded(id))
    redis_call('HINCRBY', key('scheduled_in'), field(id, 'queue'), -1)
end

-- Puts a job that waits for no other one where its start says.
local function begin(id)
    local job = redis_call('HMGET', job_key(id), 'delay', 'at')
    local run_at = now
    if job[1] then run_at = now + tonumber(job[1]) end
    if job[2] then run_at = tonumber(job[2]) end
    if run_at > now then schedule(id, run_at) else make_ready(id, now) end
end

local function free_key(id)
    local unique = field(id, 'key')
    if unique and redis_call('GET', key('unique', unique)) == text(id) then
        redis_call('DEL', key('unique', unique))
    end
end

-- The job is over: its key is free, and what it left is remembered for a while.
local function forget_job(id)
    free_key(id)
    redis_call('DEL', job_key(id))
    redis_call('SREM', key('cancellation'), text(id))
    redis_call('EXPIRE', key('result', text(id)), KEEP_TOLD)
    redis_call('EXPIRE', key('progress', text(id)), KEEP_TOLD)
end

local function bury(id, why)
    free_key(id)
    redis_call('HSET', job_key(id), 'place', 'dead', 'error', why)
    redis_call('ZADD', key('dead'), text(now), padded(id))
    redis_call('HINCRBY', key('dead_in'), field(id, 'queue'), 1)
end

local function exhume(id)
    if redis_call('ZREM', key('dead'), padded(id)) == 0 then return false end
    redis_call('HINCRBY', key('dead_in'), field(id, 'queue'), -1)
    return true
end

-- The children of this job wait for it no longer.
local function release_children(id)
    local children = redis_call('SMEMBERS', key('children', text(id)))
    if #children == 0 then return end
    redis_call('DEL', key('children', text(id)))
    table.sort(children, function(one, other) return tonumber(one) < tonumber(other) end)
    for _, child in ipairs(children) do
        redis_call('SREM', key('parents', child), text(id))
        if redis_call('SCARD', key('parents', child)) == 0 and redis_call('SREM', key('blocked'), child) == 1 then
            begin(tonumber(child))
        end
    end
end

local function leave_parents(child)
    for _, parent in ipairs(redis_call('SMEMBERS', key('parents', child))) do
        redis_call('SREM', key('children', parent), child)
    end
    redis_call('DEL', key('parents', child))
end

-- What waits for jobs that are never completed is never done either, however many steps away.
local function cancel_children(id)
    local parents = { text(id) }
    while #parents > 0 do
        local parent = table.remove(parents)
        for _, child in ipairs(redis_call('SMEMBERS', key('children', parent))) do
            if redis_call('SREM', key('blocked'), child) == 1 then
                leave_parents(child)
                count('cancelled')
                forget_job(tonumber(child))
                table.insert(parents, child)
            end
        end
        redis_call('DEL', key('children', parent))
    end
end

local function forget_lease(token)
    local worker = redis_call('HGET', key('leases'), token)
    if not worker then return end
    redis_call('HDEL', key('leases'), token)
    redis_call('SREM', key('leases_of', worker), token)
    redis_call('DEL', key('lease', token))
    redis_call('EXPIRE', key('parts', token), KEEP_PARTS)
end

-- Voids these leases, and returns their unfinished jobs to the queue or, after their last attempt, to the dead letters.
local function take_back(tokens, was_running, why)
    local returned = 0
    for _, token in ipairs(tokens) do
        local open = redis_call('HGETALL', key('lease', token))
        forget_lease(token)
        for i = 1, #open, 2 do
            local id, attempt = tonumber(open[i]), tonumber(open[i + 1])
            local job = redis_call('HMGET', job_key(id), 'created', 'max_attempts')
            returned = returned + 1
            count('rescued')
            if not was_running then
                make_ready(id, tonumber(job[1]))
            elseif attempt >= tonumber(job[2]) then
                bury(id, why .. ' in the last attempt')
            else
                redis_call('HSET', job_key(id), 'attempt', attempt + 1)
                if attempt > 1 then
                    -- If it is what kills workers, it comes back without those that were in the same batch.
                    local longest = math.min(60, 2 ^ math.min(attempt, 6)) * 1000
                    schedule(id, now + longest * ((id * 7919 + now) % 1000))
                else
                    make_ready(id, tonumber(job[1]))
                end
            end
        end
    end
    return returned
end

local function dismiss(worker, why)
    local returned = take_back(redis_call('SMEMBERS', key('leases_of', worker)), true, why)
    redis_call('ZREM', key('workers'), worker)
    redis_call('HDEL', key('timeouts'), worker)
    return returned
end

local call = {}

function call.enqueue(arguments)
    local is_child, answer, ids = {}, {}, {}
    for _, edge in ipairs(arguments.edges) do is_child[edge[2]] = true end
    for place, job in ipairs(arguments.jobs) do
        local there = job.key and redis_call('GET', key('unique', job.key))
        if there then
            ids[place] = tonumber(there)
            table.insert(answer, tonumber(there))
            table.insert(answer, 0)
        else
            local id = redis_call('INCR', key('id'))
            ids[place] = id
            local fields = {
                'queue', job.queue, 'kind', job.kind, 'args', job.args, 'priority', job.priority,
                'max_attempts', job.max_attempts, 'version', job.version, 'attempt', 1, 'created', text(now),
            }
            local function also(name, value)
                if value ~= nil then table.insert(fields, name) table.insert(fields, value) end
            end
            also('trace', job.trace)
            also('delay', job.delay and text(job.delay))
            also('at', job.at and text(job.at))
            also('expires', job.expires_in and text(now + job.expires_in))
            if job.key and job.period then
                redis_call('SET', key('unique', job.key), text(id), 'PX', text(math.max(1, math.ceil(job.period / 1000))))
            elseif job.key then
                redis_call('SET', key('unique', job.key), text(id))
                also('key', job.key)
            end
            redis_call('HSET', job_key(id), unpack(fields))
            if is_child[place - 1] then
                redis_call('HSET', job_key(id), 'place', 'blocked')
                redis_call('SADD', key('blocked'), text(id))
            else
                begin(id)
            end
            table.insert(answer, id)
            table.insert(answer, 1)
        end
    end
    for _, edge in ipairs(arguments.edges) do
        local parent, child = text(ids[edge[1] + 1]), text(ids[edge[2] + 1])
        redis_call('SADD', key('children', parent), child)
        redis_call('SADD', key('parents', child), parent)
    end
    return answer
end

function call.register(arguments)
    redis_call('ZADD', key('workers'), text(now + arguments.timeout), arguments.worker)
    redis_call('HSET', key('timeouts'), arguments.worker, text(arguments.timeout))
end

function call.heartbeat(arguments)
    if not redis_call('ZSCORE', key('workers'), arguments.worker) then return 0 end
    local timeout = tonumber(redis_call('HGET', key('timeouts'), arguments.worker))
    redis_call('ZADD', key('workers'), text(now + timeout), arguments.worker)
    return 1
end

function call.retire(arguments) return dismiss(arguments.worker, arguments.why) end

-- Nothing for a worker that was given up.
function call.claim(arguments)
    local worker, token = arguments.worker, arguments.token
    if not redis_call('ZSCORE', key('workers'), worker) then return false end
    if redis_call('SISMEMBER', key('paused'), arguments.queue) == 1 or redis_call('HEXISTS', key('leases'), token) == 1 then
        return {}
    end
    local ready = key('ready', arguments.queue)
    local taken = redis_call('ZRANGE', ready, 0, arguments.limit - 1, 'WITHSCORES')
    if #taken == 0 then return {} end
    redis_call('ZREMRANGEBYRANK', ready, 0, #taken / 2 - 1)
    redis_call('HSET', key('leases'), token, worker)
    redis_call('SADD', key('leases_of', worker), token)
    local jobs = { { tonumber(taken[2]) } }
    for i = 1, #taken, 2 do
        local id = tonumber(taken[i])
        local job = redis_call('HMGET', job_key(id), 'kind', 'args', 'attempt', 'max_attempts', 'version', 'trace', 'created', 'expires')
        redis_call('HSET', job_key(id), 'place', 'leased', 'token', token)
        redis_call('HSET', key('lease', token), text(id), job[3])
        local is_expired = 0
        if job[8] and tonumber(job[8]) < now then is_expired = 1 end
        table.insert(jobs, {
            id, job[1], job[2], tonumber(job[3]), tonumber(job[4]), tonumber(job[5]), job[6], is_expired,
            math.max(0, now - tonumber(job[7])),
        })
    end
    return jobs
end

-- 'new' for a record that is to be made, 'there' for one that was made before, 'fenced' when the lease is gone.
local function record(token, part)
    if redis_call('SISMEMBER', key('parts', token), part) == 1 then return 'there' end
    if redis_call('HEXISTS', key('leases'), token) == 0 then return 'fenced' end
    redis_call('SADD', key('parts', token), part)
    return 'new'
end

local function settle(token, id) return redis_call('HDEL', key('lease', token), text(id)) == 1 end

function call.give_back(arguments)
    if record(arguments.token, arguments.part) ~= 'new' then return end
    for _, id in ipairs(arguments.jobs) do
        if settle(arguments.token, id) then make_ready(id, tonumber(field(id, 'created'))) end
    end
end

function call.release(arguments) return take_back(arguments.tokens, false, arguments.why) end
function call.close(arguments) return take_back(arguments.tokens, true, arguments.why) end
function call.leases_of(arguments) return redis_call('SMEMBERS', key('leases_of', arguments.worker)) end

-- The tokens of leases that stood.
function call.complete(arguments)
    local stood = {}
    for _, one in ipairs(arguments.done) do
        local recorded = record(one.token, one.part)
        if recorded ~= 'fenced' then table.insert(stood, one.token) end
        if recorded == 'new' then
            local ended = {}
            for _, id in ipairs(one.jobs) do ended[id] = settle(one.token, id) end
            for _, told in ipairs(one.results) do
                if ended[told[1]] then redis_call('SET', key('result', text(told[1])), told[2], 'NX') end
            end
            for _, id in ipairs(one.jobs) do
                if ended[id] then
                    ended[id] = false
                    count('completed')
                    release_children(id)
                    forget_job(id)
                end
            end
            if one.is_over and redis_call('HLEN', key('lease', one.token)) == 0 then forget_lease(one.token) end
        end
    end
    return stood
end

function call.unfinished(arguments)
    local recorded = 0
    for _, one in ipairs(arguments.all) do
        local id = one.job
        local is_open = redis_call('HEXISTS', key('lease', one.token), text(id)) == 1
        if is_open and record(one.token, one.part) == 'new' and settle(one.token, id) then
            recorded = recorded + 1
            if one.ending == 'retry' or one.ending == 'return' then
                if one.ending == 'retry' then redis_call('HSET', job_key(id), 'attempt', one.attempt + 1) end
                schedule(id, now + one.wait)
            elseif one.ending == 'dead' then
                bury(id, one.why)
            else
                count(one.ending)
                forget_job(id)
                cancel_children(id)
            end
        end
    end
    return recorded
end

function call.tell_progress(arguments)
    if redis_call('HEXISTS', key('lease', arguments.token), text(arguments.job)) == 0 then return 0 end
    redis_call('HSET', key('progress', text(arguments.job)), 'done', arguments.done, 'total', arguments.total, 'note', arguments.note)
    return 1
end

function call.progress(arguments)
    return redis_call('HMGET', key('progress', text(arguments.job)), 'done', 'total', 'note')
end

function call.result(arguments) return redis_call('GET', key('result', text(arguments.job))) end

function call.promote()
    local due = redis_call('ZRANGEBYSCORE', key('scheduled'), '-inf', text(now), 'WITHSCORES', 'LIMIT', 0, MAINTENANCE_BATCH)
    for i = 1, #due, 2 do
        unschedule(tonumber(due[i]))
        make_ready(tonumber(due[i]), tonumber(due[i + 1]))
    end
    return #due / 2
end

function call.rescue(arguments)
    local rescued = 0
    local dead = redis_call('ZRANGEBYSCORE', key('workers'), '-inf', '(' .. text(now), 'LIMIT', 0, MAX_RESCUES)
    for _, worker in ipairs(dead) do rescued = rescued + dismiss(worker, arguments.why) end
    return rescued
end

function call.cancel(arguments)
    local id = arguments.job
    local job = redis_call('HMGET', job_key(id), 'place', 'queue')
    local place = job[1]
    if not place or place == 'dead' then return 'over' end
    if place == 'leased' then
        redis_call('SADD', key('cancellation'), text(id))
        return 'running'
    elseif place == 'ready' then
        redis_call('ZREM', key('ready', job[2]), padded(id))
    elseif place == 'scheduled' then
        unschedule(id)
    else
        redis_call('SREM', key('blocked'), text(id))
        leave_parents(text(id))
    end
    count('cancelled')
    forget_job(id)
    cancel_children(id)
    return 'queued'
end

function call.cancelled_on(arguments)
    local asked = {}
    for _, id in ipairs(redis_call('SMEMBERS', key('cancellation'))) do
        local job = redis_call('HMGET', job_key(tonumber(id)), 'place', 'token')
        if job[1] == 'leased' and redis_call('HGET', key('leases'), job[2]) == arguments.worker then
            table.insert(asked, tonumber(id))
        end
    end
    return asked
end

function call.pause(arguments) return redis_call('SADD', key('paused'), arguments.queue) end
function call.resume(arguments) return redis_call('SREM', key('paused'), arguments.queue) end

local function leased()
    local jobs = 0
    for _, token in ipairs(redis_call('HKEYS', key('leases'))) do jobs = jobs + redis_call('HLEN', key('lease', token)) end
    return jobs
end

function call.backlog(arguments)
    local ready, oldest = key('ready', arguments.queue), now
    for _, id in ipairs(redis_call('ZRANGE', ready, 0, 99)) do
        oldest = math.min(oldest, tonumber(field(tonumber(id), 'created')))
    end
    return {
        redis_call('ZCARD', ready),
        tonumber(redis_call('HGET', key('scheduled_in'), arguments.queue) or 0),
        leased(),
        tonumber(redis_call('HGET', key('dead_in'), arguments.queue) or 0),
        now - oldest,
    }
end

function call.stats()
    local ready = 0
    for _, queue in ipairs(redis_call('SMEMBERS', key('queues'))) do ready = ready + redis_call('ZCARD', key('ready', queue)) end
    local counts = redis_call('HMGET', key('count'), 'completed', 'rescued', 'cancelled', 'expired')
    for i = 1, 4 do counts[i] = tonumber(counts[i] or 0) end
    return {
        ready, redis_call('ZCARD', key('scheduled')), redis_call('SCARD', key('blocked')), leased(), redis_call('ZCARD', key('dead')),
        unpack(counts),
    }
end

function call.dead_letters(arguments)
    local letters, from = {}, 0
    while #letters < arguments.limit do
        local some = redis_call('ZREVRANGE', key('dead'), from, from + MAINTENANCE_BATCH - 1)
        if #some == 0 then break end
        from = from + #some
        for _, id in ipairs(some) do
            local job = redis_call('HMGET', job_key(tonumber(id)), 'kind', 'args', 'attempt', 'error')
            if #letters < arguments.limit and (not arguments.kind or arguments.kind == job[1]) then
                table.insert(letters, { tonumber(id), job[1], job[2], tonumber(job[3]), job[4] })
            end
        end
    end
    return letters
end

-- Pairs of the old number and the new one.
function call.replay(arguments)
    local pairs_of_numbers = {}
    table.sort(arguments.jobs)
    for _, old in ipairs(arguments.jobs) do
        if exhume(old) then
            local id = redis_call('INCR', key('id'))
            redis_call('RENAME', job_key(old), job_key(id))
            redis_call('HDEL', job_key(id), 'expires', 'key', 'error', 'token', 'delay', 'at')
            redis_call('HSET', job_key(id), 'attempt', 1, 'created', text(now), 'replay_of', text(old))
            redis_call('SREM', key('cancellation'), text(old))
            for _, child in ipairs(redis_call('SMEMBERS', key('children', text(old)))) do
                redis_call('SADD', key('children', text(id)), child)
                redis_call('SREM', key('parents', child), text(old))
                redis_call('SADD', key('parents', child), text(id))
            end
            redis_call('DEL', key('children', text(old)))
            make_ready(id, now)
            table.insert(pairs_of_numbers, old)
            table.insert(pairs_of_numbers, id)
        end
    end
    return pairs_of_numbers
end

function call.purge(arguments)
    local purged = 0
    for _, id in ipairs(arguments.jobs) do
        if exhume(id) then
            forget_job(id)
            cancel_children(id)
            purged = purged + 1
        end
    end
    return purged
end

return call[ARGV[1]](cjson.decode(ARGV[2]))
