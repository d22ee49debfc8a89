# Runs one crate: reads requests from a pipe, calls the function, writes answers to another pipe.
#
# A request is its length (a 4-byte integer) and what serialize() makes of a list: `table` and
# `params`, or `form` and `text`. An answer has a mark before its length, and its kind after that. Only base R is used, and
# jsonlite for what is to be answered as MLflow's R server answers it (not its fromJSON(), which
# reads URLs and files, too). Standard output is the log's: the pipes have descriptors of their own.
# All of this is sourced into an environment of its own: the global one belongs to the model.

ANSWERED <- 0L
FAILED <- 1L
MARK <- 0x52434154L
LARGEST <- .Machine$integer.max

# Classes that the other end makes something of.
KEPT_CLASSES <- c("Date", "POSIXct", "integer64", "AsIs")

# An answer in the few types that the other end reads.
plain <- function(x) {
  if (is.null(x)) {
    NULL
  } else if (isS4(x)) {
    as.name("S4 object")
  } else if (is.factor(x) || is.complex(x)) {
    with_shape(as.character(x), x)
  } else if (inherits(x, "POSIXlt")) {
    plain(as.POSIXct(x))
  } else if (is.data.frame(x)) {
    plain_table(x)
  } else if (is.list(x)) {
    plain_list(x)
  } else if (is.character(x)) {
    with_shape(enc2utf8(as.vector(x)), x)
  } else if (is.atomic(x)) {
    values <- x
    attributes(values) <- NULL
    with_shape(values, x)
  } else {
    as.name(typeof(x))
  }
}

with_shape <- function(values, x) {
  dim(values) <- dim(x)
  if (is.object(x)) {
    kept <- intersect(class(x), KEPT_CLASSES)
    if (length(kept)) {
      attr(values, "class") <- kept
    }
  }
  values
}

plain_table <- function(x) {
  columns <- unname(lapply(as.list(x), plain))
  structure(
    columns,
    names = if (length(x)) enc2utf8(names(x)) else character(),
    class = "data.frame",
    row.names = c(NA_integer_, -nrow(x))
  )
}

plain_list <- function(x) {
  names <- names(x)
  items <- lapply(unclass(x), plain)
  attributes(items) <- NULL
  if (!is.null(names)) {
    unnamed <- is.na(names) | names == ""
    names[unnamed] <- seq_along(names)[unnamed]
    names(items) <- make.unique(enc2utf8(names))
  }
  items
}

# A table from a body in one of the forms of MLflow's R server.
table_of <- function(form, text) {
  if (form == "csv") {
    return(utils::read.csv(text = text))
  }
  if (form == "columns") {
    if (!nzchar(text)) {
      return(data.frame())
    }
    return(as.data.frame(jsonlite::parse_json(
      text, simplifyVector = TRUE, simplifyDataFrame = FALSE, simplifyMatrix = FALSE
    )))
  }
  json <- jsonlite::parse_json(text, simplifyVector = TRUE)
  if (is.data.frame(json)) {
    return(json)
  }
  if ("dataframe_records" %in% names(json)) {
    return(as.data.frame(json$dataframe_records))
  }
  if ("dataframe_split" %in% names(json)) {
    json <- json$dataframe_split
  }
  if (!"data" %in% names(json)) {
    stop("The body has no columns and data.")
  }
  table <- data.frame(json$data, row.names = json$index)
  if (!is.null(json$columns)) {
    names(table) <- json$columns
  }
  table
}

answer <- function(crate, request) {
  if (!is.null(request$form)) {
    table <- table_of(request$form, request$text)
    text <- jsonlite::toJSON(crate(table), auto_unbox = TRUE, digits = NA)
    enc2utf8(as.character(text))
  } else if (is.null(request$params)) {
    plain(crate(request$table))
  } else {
    plain(do.call(crate, c(list(request$table), request$params), quote = TRUE))
  }
}

# The kind and the value of an answer; the calls that led to an error go to the log.
attempt <- function(expression) {
  tryCatch(
    withCallingHandlers(list(ANSWERED, expression), error = function(problem) {
      # The last two are this handler's own.
      calls <- utils::tail(utils::head(sys.calls(), -2L), 10L)
      texts <- vapply(calls, function(call) substr(deparse(call, nlines = 1L), 1L, 100L), "")
      writeLines(paste("R:", c(conditionMessage(problem), texts)), stderr())
    }),
    error = function(problem) list(FAILED, enc2utf8(conditionMessage(problem)))
  )
}

send <- function(answers, outcome) {
  bytes <- serialize(outcome[[2L]], NULL, xdr = FALSE, version = 2L)
  if (length(bytes) > LARGEST) {
    return(send(answers, list(FAILED, "The answer is larger than 2 GB.")))
  }
  writeBin(c(MARK, length(bytes), outcome[[1L]]), answers)
  writeBin(bytes, answers)
  flush(answers)
}

load <- function(path) {
  crate <- unserialize(readRDS(path))
  if (!is.function(crate)) {
    stop("it is no function, but of class ", class(crate)[[1L]])
  }
  crate
}

run <- function(requests, answers, path) {
  requests <- file(paste0("/dev/fd/", requests), "rb", raw = TRUE)
  answers <- file(paste0("/dev/fd/", answers), "wb", raw = TRUE)
  # At once, to the log: nothing ever comes back to where R would write them.
  options(warn = 1L)
  loaded <- attempt(load(path))
  crate <- loaded[[2L]]
  if (loaded[[1L]] == ANSWERED) {
    loaded[[2L]] <- as.character(getRversion())
  }
  send(answers, loaded)
  while (loaded[[1L]] == ANSWERED && length(size <- readBin(requests, "integer", 1L))) {
    bytes <- readBin(requests, "raw", size)
    send(answers, attempt(answer(crate, unserialize(bytes))))
  }
  quit("no", runLast = FALSE)
}
