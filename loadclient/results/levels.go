package results

// LevelsOf2011 are the numbers of connections of the benchmark of 2011.
var LevelsOf2011 = []int{25, 50, 75, 100, 200, 300, 400, 500, 750, 1000, 1250, 1500, 2000}

// QuickLevels are four of them.
var QuickLevels = []int{25, 100, 500, 2000}
