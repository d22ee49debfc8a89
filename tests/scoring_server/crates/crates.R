# Writes models as MLflow's R package does, each into a folder of its own below the argument.
# A crate is a function whose environment has what it needs, and no more (see the package carrier).

crate <- function(fn, ...) {
  environment(fn) <- list2env(list(...), parent = baseenv())
  structure(fn, class = "crate")
}

save <- function(fn, name) {
  folder <- file.path(commandArgs(TRUE)[[1]], name)
  dir.create(folder)
  saveRDS(serialize(fn, NULL), file.path(folder, "crate.bin"))
  writeLines(c(
    "flavors:",
    "  crate:",
    "    version: 0.1.0",
    "    model: crate.bin",
    "utc_time_created: 26-02-13T20:00:00.00",
    "run_id: 8a0ae3b7ab604c0dbd3ae0e9a8f8c5f5"
  ), file.path(folder, "MLmodel"))
}

save(crate(function(df) stats::predict(fit, df), fit = lm(mpg ~ wt + hp, mtcars)), "lm")
save(crate(
  function(df) stats::predict(fit, df, type = "response"),
  fit = glm(am ~ wt, binomial, mtcars)
), "glm")
save(crate(
  function(df) ifelse(is.na(df$key), -1, table[df$key] * df$x),
  table = c(a = 0.1, b = 1e300, "\u00e4" = -3)
), "closure")
save(crate(function(df) tools::toTitleCase(df$text)), "package")
save(crate(function(df) df), "same")
save(crate(function(df, times = 1) df$x * times), "params")
save(crate(function(df) vapply(df, function(column) paste(class(column), collapse = " "), "")),
     "classes")
save(crate(function(df) df$x * 2), "twice")
save(structure(list(a = 1), class = "crate"), "no_function")
save(crate(function(df) {
  switch(df$what[[1]],
    vector = c(0.1, 1 / 3, 1e300),
    integers = c(1L, NA),
    logicals = c(TRUE, NA, FALSE),
    texts = c("a", NA, "\u00e4\U1F600"),
    factor = factor(c("u", NA, "v")),
    special = c(NA, NaN, Inf, -Inf, 1),
    named = c(a = 1, b = 2),
    empty = numeric(),
    null = NULL,
    matrix = matrix(c(1, NA, 3, 4, 5, 6), 2),
    cube = array(1:8, c(2, 2, 2)),
    table = data.frame(
      n = c(1L, NA), x = c(0.1, NA), s = c("a", NA), f = factor(c("u", "v")), b = c(TRUE, NA),
      d = as.Date(c("2024-01-31", NA))
    ),
    no_rows = data.frame(x = numeric()),
    nested = {
      inner <- data.frame(id = 1:2)
      inner$items <- list(1:2, "one")
      inner$pair <- matrix(1:4, 2)
      inner
    },
    list = list(a = 1, b = c(1, 2), c = NULL, d = list("x", NA), e = I(5)),
    unnamed = list(1, "a", c(TRUE, NA)),
    partly = list(a = 1, 2, a = 3),
    date = as.Date(c("2024-01-31", NA, "1969-12-31")),
    time = as.POSIXct(c("2024-01-31 12:00:00.25", NA), tz = "UTC"),
    local = as.POSIXlt("2024-01-31 12:00:00", tz = "America/New_York"),
    complex = complex(real = 1, imaginary = -2),
    bytes = as.raw(1:3),
    integer64 = structure(c(4.940656458412465e-324, 0), class = "integer64"),
    difftime = as.difftime(2, units = "hours"),
    latin = iconv("\u00e4", "UTF-8", "latin1"),
    fn = function(x) x,
    environment = list(a = globalenv()),
    s4 = methods::getClass("numeric")
  )
}), "answers")
save(crate(function(df) {
  switch(df$what[[1]],
    fine = 1,
    stop = stop("it failed: \u00e4"),
    condition = stop(structure(list(message = "of its own"), class = c("odd", "error", "condition"))),
    recursion = (function() sys.function()())(),
    warning = {
      warning("beware")
      1
    },
    print = {
      cat("on standard output\n")
      system("echo from a program")
      print(df)
      1
    },
    write = {
      for (n in 3:9) try(cat("garbage", file = paste0("/dev/fd/", n)), silent = TRUE)
      1
    },
    clear = {
      rm(list = ls(globalenv()), envir = globalenv())
      1
    },
    readline = readLines(file("stdin")),
    quit = quit("no", 3),
    kill = {
      tools::pskill(Sys.getpid(), 9)
      Sys.sleep(60)
    },
    abort = invokeRestart("abort"),
    connections = closeAllConnections(),
    background = {
      system("sleep 600 &")
      quit("no")
    },
    file = {
      writeLines("x", tempfile())
      tempdir()
    },
    loop = repeat {},
    slow = {
      Sys.sleep(1)
      Sys.getpid()
    },
    pid = Sys.getpid(),
    memory = length(numeric(2^28)),
    environ = Sys.getenv(df$name[[1]])
  )
}), "faults")
