#include "rewards/judge/http_transfers.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>

#include "trainer/base/error.h"

namespace limbic::rewards {
namespace {

constexpr std::size_t kMaxReplyBytes = 4 << 20;

struct Transfer {
  HttpRequest request;
  HttpReply reply;
  bool too_long = false;
  char complaint[CURL_ERROR_SIZE] = {};
  curl_slist* headers = nullptr;
  CURL* easy = nullptr;

  Transfer() = default;
  ~Transfer() {
    if (easy != nullptr) curl_easy_cleanup(easy);
    curl_slist_free_all(headers);
  }
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;
};

std::size_t take_bytes(char* bytes, std::size_t, std::size_t count, void* context) {
  auto& transfer = *static_cast<Transfer*>(context);
  if (transfer.reply.body.size() + count > kMaxReplyBytes) {
    transfer.too_long = true;
    return 0;  // ends the transfer
  }
  transfer.reply.body.append(bytes, count);
  return count;
}

template <class Value>
void set(CURL* easy, CURLoption option, Value value) {
  const CURLcode code = curl_easy_setopt(easy, option, value);
  check(code == CURLE_OK, std::string("libcurl refuses an option: ") + curl_easy_strerror(code));
}

void configure(Transfer& transfer) {
  const HttpRequest& request = transfer.request;
  const auto add_header = [&](const std::string& header) {
    transfer.headers = curl_slist_append(transfer.headers, header.c_str());
  };
  for (const std::string& header : request.headers) add_header(header);
  add_header("Expect:");  // never wait for leave to send the body
  CURL* easy = transfer.easy;
  set(easy, CURLOPT_URL, request.url.c_str());
  set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  set(easy, CURLOPT_PROXY, "");
  set(easy, CURLOPT_NOSIGNAL, 1L);
  set(easy, CURLOPT_FOLLOWLOCATION, 0L);
  set(easy, CURLOPT_HTTPHEADER, transfer.headers);
  set(easy, CURLOPT_TIMEOUT_MS, std::max(1L, std::lround(request.deadline_s * 1000.0)));
  set(easy, CURLOPT_ERRORBUFFER, transfer.complaint);
  set(easy, CURLOPT_WRITEFUNCTION, &take_bytes);
  set(easy, CURLOPT_WRITEDATA, static_cast<void*>(&transfer));
  if (request.body.empty()) return;
  set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
  set(easy, CURLOPT_POSTFIELDS, request.body.data());
}

HttpReply reply_of(Transfer& transfer, CURLcode code) {
  HttpReply reply = std::move(transfer.reply);
  if (code != CURLE_OK) {
    reply.body.clear();
    reply.error = transfer.too_long
                      ? fmt::format("got a reply of more than {} bytes", kMaxReplyBytes)
                  : transfer.complaint[0] != 0 ? transfer.complaint
                                               : curl_easy_strerror(code);
    return reply;
  }
  long status = 0;
  curl_easy_getinfo(transfer.easy, CURLINFO_RESPONSE_CODE, &status);
  reply.status = static_cast<int>(status);
  curl_off_t wait = 0;
  if (curl_easy_getinfo(transfer.easy, CURLINFO_RETRY_AFTER, &wait) == CURLE_OK && wait > 0) {
    reply.retry_after_s = static_cast<double>(wait);
  }
  return reply;
}

void initialise_once() {
  static std::once_flag done;
  std::call_once(done, [] {
    check(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK, "libcurl does not start");
  });
}

}  // namespace

struct HttpTransfers::Impl {
  CURLM* multi = nullptr;
  std::map<std::uint64_t, std::unique_ptr<Transfer>> transfers;

  void drop(std::map<std::uint64_t, std::unique_ptr<Transfer>>::iterator entry) {
    curl_multi_remove_handle(multi, entry->second->easy);
    transfers.erase(entry);
  }
};

HttpTransfers::HttpTransfers() : impl_(std::make_unique<Impl>()) {
  initialise_once();
  impl_->multi = curl_multi_init();
  check(impl_->multi != nullptr, "libcurl has no memory");
}

HttpTransfers::~HttpTransfers() {
  abort_all();
  curl_multi_cleanup(impl_->multi);
}

void HttpTransfers::start(std::uint64_t id, HttpRequest request) {
  auto transfer = std::make_unique<Transfer>();
  transfer->request = std::move(request);
  transfer->easy = curl_easy_init();
  check(transfer->easy != nullptr, "libcurl has no memory");
  configure(*transfer);
  set(transfer->easy, CURLOPT_PRIVATE, reinterpret_cast<void*>(id));
  check(curl_multi_add_handle(impl_->multi, transfer->easy) == CURLM_OK,
        "libcurl refuses a transfer");
  check(impl_->transfers.emplace(id, std::move(transfer)).second, "two transfers of one id");
}

std::vector<std::pair<std::uint64_t, HttpReply>> HttpTransfers::wait(
    std::chrono::milliseconds longest) {
  std::vector<std::pair<std::uint64_t, HttpReply>> ended;
  const auto collect = [&] {
    int running = 0;
    curl_multi_perform(impl_->multi, &running);
    int more = 0;
    while (const CURLMsg* message = curl_multi_info_read(impl_->multi, &more)) {
      if (message->msg != CURLMSG_DONE) continue;
      const CURLcode code = message->data.result;
      void* tag = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &tag);
      const auto id = reinterpret_cast<std::uint64_t>(tag);
      const auto entry = impl_->transfers.find(id);
      ended.emplace_back(id, reply_of(*entry->second, code));
      impl_->drop(entry);
    }
  };
  collect();
  if (!ended.empty()) return ended;
  curl_multi_poll(impl_->multi, nullptr, 0, static_cast<int>(longest.count()), nullptr);
  collect();
  return ended;
}

void HttpTransfers::wake() { curl_multi_wakeup(impl_->multi); }

void HttpTransfers::abort_all() {
  while (!impl_->transfers.empty()) impl_->drop(impl_->transfers.begin());
}

}  // namespace limbic::rewards
