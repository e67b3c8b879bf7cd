-- Which request a job belongs to, for logs and traces; nothing for jobs that no request caused.
alter table seaworthy_queue.job add column trace text;
