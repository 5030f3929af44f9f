-- Sends If-None-Match if the environment has an entity tag; prints the result as one line of JSON.
local etag = os.getenv("ETAG")
if etag and etag ~= "" then
   wrk.headers["If-None-Match"] = etag
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '{"requests": %d, "microseconds": %d, "bytes": %d, "p99_microseconds": %g, "errors": %d}\n',
      summary.requests, summary.duration, summary.bytes, latency:percentile(99),
      errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
