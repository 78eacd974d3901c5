-- postgresql
CREATE TABLE event (at timestamptz PRIMARY KEY, what text);
INSERT INTO event VALUES ('2026-03-01 12:00:00.25+00', 'The lighthouse keeper rang the harbour bell at noon.'), ('2026-03-01 12:00:01+00', 'A trawler left the harbour.'), ('2026-03-02 08:30:00.5+02', 'Fog over the pier.');
CREATE TABLE tagged (tags text[] PRIMARY KEY, what text);
INSERT INTO tagged VALUES ('{red,blue}', 'Two tags.'), ('{green}', 'One tag.');
CREATE TABLE paper (k jsonb PRIMARY KEY, what text);
INSERT INTO paper VALUES ('{"n": 1}', 'An object.'), ('[1, "2"]', 'A list.');
CREATE TABLE plain (id integer PRIMARY KEY, what text);
INSERT INTO plain SELECT i, 'Plain row number ' || i FROM generate_series(1, 30) i;
CREATE TABLE coded (code varchar(40) PRIMARY KEY, what text);
INSERT INTO coded VALUES ('a/b', 'Slash.'), ('50%', 'Per cent.'), ('x,y', 'Comma.');
CREATE TABLE global (id uuid PRIMARY KEY, what text);
INSERT INTO global VALUES ('6f2c1f7e-0000-4000-8000-000000000001', 'A uuid.');
-- mariadb
CREATE TABLE measure (k FLOAT PRIMARY KEY, what VARCHAR(80));
INSERT INTO measure VALUES (0.1, 'A tenth.'), (2.5, 'Two and a half.');
CREATE TABLE moment (at DATETIME(6) PRIMARY KEY, what VARCHAR(80));
INSERT INTO moment VALUES ('2026-03-01 12:00:00.250000', 'A quarter past the second.');
-- sqlite
CREATE TABLE loose (k PRIMARY KEY, what TEXT);
INSERT INTO loose VALUES (1, 'The number one.'), ('two', 'The word two.'), (x'ff', 'One byte.');
CREATE TABLE album (id INTEGER PRIMARY KEY, title TEXT);
INSERT INTO album VALUES (1, 'Let There Be Rock'), (2, 'Powerage');
