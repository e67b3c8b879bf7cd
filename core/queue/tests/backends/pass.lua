-- Makes everything that the queue with the prefix KEYS[1] knows ARGV[1] microseconds older.
local prefix, micros = KEYS[1], tonumber(ARGV[1])
local function text(number) return string.format('%.0f', number) end

local function shift(key, by)
    local members = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for i = 1, #members, 2 do redis.call('ZADD', key, text(tonumber(members[i + 1]) - by), members[i]) end
end

for _, name in ipairs({ 'scheduled', 'workers', 'dead' }) do shift(prefix .. ':' .. name, micros) end
for _, key in ipairs(redis.call('KEYS', prefix .. ':*')) do
    local kind = string.sub(key, #prefix + 2)
    if string.sub(kind, 1, 6) == 'ready:' then
        shift(key, math.floor(micros / 1000))
    elseif string.sub(kind, 1, 4) == 'job:' then
        for _, field in ipairs({ 'created', 'expires', 'at' }) do
            local time = redis.call('HGET', key, field)
            if time then redis.call('HSET', key, field, text(tonumber(time) - micros)) end
        end
    elseif string.sub(kind, 1, 7) == 'unique:' then
        local left = redis.call('PTTL', key)
        if left > 0 then redis.call('PEXPIRE', key, text(left - micros / 1000)) end
    end
end
