package overview

// DaysBefore is for tests.
var DaysBefore = daysBefore
