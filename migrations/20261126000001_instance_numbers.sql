-- Each instance of the api takes a number when it starts, and writes it into the ids of its tickets, so that no two instances
-- issue the same id. Numbers come again after 32 768 starts.
CREATE SEQUENCE instance_numbers AS integer MINVALUE 0 MAXVALUE 32767 START 0 CYCLE;
