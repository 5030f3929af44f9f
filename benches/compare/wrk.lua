-- Sends the method that the environment names, and If-None-Match if it has an entity tag; prints the
-- result as one line of JSON.
wrk.method = os.getenv("METHOD") or "GET"
local etag = os.getenv("ETAG")
if etag and etag ~= "" then
   wrk.headers["If-None-Match"] = etag
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '{"requests": %d, "microseconds": %d, "bytes": %d, "p50_microseconds": %g, "p99_microseconds": %g, "errors": %d}\n',
      summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
      errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
