-- A label (`seat_number`) names one seat of a concert, except that several sold seats may keep one that earlier versions gave
-- them. All but one of those are marked. The next migration marks them and makes the others unique; this one takes no time.
ALTER TABLE seats ADD COLUMN has_legacy_label boolean NOT NULL DEFAULT false;
