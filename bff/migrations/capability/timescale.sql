-- Run by the owner after the numbered migrations, at each of them; changes nothing the second time.
-- Three tiers under one view name: a plain table; a hypertable (Apache licence); with compression and a continuous
-- aggregate (TSL).
DO $step$
DECLARE
  licence text;
BEGIN
  -- The loader defines this setting. Creating the extension on a server that has not preloaded it drops the connection.
  IF current_setting('timescaledb.disable_load', true) IS NULL
     AND NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
    RETURN;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb') THEN
    RETURN;
  END IF;
  BEGIN
    EXECUTE 'CREATE EXTENSION IF NOT EXISTS timescaledb';
  EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'no right to create the extension: plain table';
    RETURN;
  END;
  licence := current_setting('timescaledb.license', true);
  PERFORM create_hypertable('health_metrics', 'time', chunk_time_interval => interval '7 days',
    if_not_exists => true, migrate_data => true);
  IF licence <> 'timescale' THEN
    RETURN;
  END IF;
  EXECUTE $q$ALTER TABLE health_metrics SET (timescaledb.compress, timescaledb.compress_segmentby = 'user_id,source',
    timescaledb.compress_orderby = 'time DESC')$q$;
  PERFORM add_compression_policy('health_metrics', interval '40 days', if_not_exists => true);
  EXECUTE $q$CREATE MATERIALIZED VIEW IF NOT EXISTS health_daily_cagg WITH (timescaledb.continuous) AS
    SELECT user_id, source, time_bucket('1 day', time) AS day, sum(steps_delta) AS steps,
      sum(active_energy_kcal) AS active_energy_kcal, avg(resting_hr) AS resting_hr, avg(hrv_ms) AS hrv_ms,
      max(sleep_score) AS sleep_score, count(*) AS rows
    FROM health_metrics GROUP BY 1, 2, 3 WITH NO DATA$q$;
  -- Without this the newest rows do not show until a refresh.
  EXECUTE 'ALTER MATERIALIZED VIEW health_daily_cagg SET (timescaledb.materialized_only = false)';
  PERFORM add_continuous_aggregate_policy('health_daily_cagg', start_offset => interval '7 days',
    end_offset => interval '1 hour', schedule_interval => interval '1 hour', if_not_exists => true);
  EXECUTE $q$CREATE OR REPLACE VIEW health_daily AS SELECT user_id, source, day, steps, active_energy_kcal,
    resting_hr, hrv_ms, sleep_score, rows FROM health_daily_cagg$q$;
END $step$;

DO $view$
BEGIN
  IF to_regclass('health_daily') IS NULL THEN
    CREATE VIEW health_daily AS
      SELECT user_id, source, date_trunc('day', time, 'UTC') AS day, sum(steps_delta) AS steps,
        sum(active_energy_kcal) AS active_energy_kcal, avg(resting_hr) AS resting_hr, avg(hrv_ms) AS hrv_ms,
        max(sleep_score) AS sleep_score, count(*) AS rows
      FROM health_metrics GROUP BY 1, 2, 3;
  END IF;
  GRANT SELECT ON health_daily TO bio_worker;
END $view$;
