-- Reads the whole book. Writes nothing.
--
-- KEYS[1]  the sale's book
-- ARGV     none
-- Returns  'ok' or 'lost', run, repl of this server, then the fields and values of the book

local answer = { lost() and 'lost' or 'ok', run, repl }
for at = 1, #flat do
  answer[#answer + 1] = flat[at]
end
return answer
