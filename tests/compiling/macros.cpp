// Every header, after macros with names that a program would like to use itself: those of windows.h, of X11, of
// complex.h, and of C libraries and kernels.
#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <compare>
#include <concepts>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <locale>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <numbers>
#include <numeric>
#include <optional>
#include <queue>
#include <random>
#include <set>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>
#include <version>
#if __has_include(<unsupported/Eigen/CXX11/Tensor>)
#include <unsupported/Eigen/CXX11/Tensor>
#endif
#if __has_include(<sentencepiece_trainer.h>)
#include <sentencepiece_trainer.h>
#endif
#if __has_include(<mpi.h>)
#include <mpi.h>
#endif
#if __has_include(<nlohmann/json.hpp>)
#include <nlohmann/json.hpp>
#endif

// The headers above come first because a standard library need not survive these macros. A bracket stands for whatever
// they are defined as: no code compiles with it.
#define min(a, b) ]
#define max(a, b) ]

// windows.h and what it includes
#define small ]
#define near ]
#define far ]
#define huge ]
#define hyper ]
#define pascal ]
#define cdecl ]
#define interface ]
#define IN ]
#define OUT ]
#define OPTIONAL ]
#define CONST ]
#define VOID ]
#define FAR ]
#define NEAR ]
#define PASCAL ]
#define STRICT ]
#define TRUE ]
#define FALSE ]
#define BOOL ]
#define BYTE ]
#define CHAR ]
#define INT ]
#define LONG ]
#define SHORT ]
#define FLOAT ]
#define DOUBLE ]
#define WORD ]
#define TEXT ]
#define ERROR ]
#define NO_ERROR ]
#define DELETE ]
#define IGNORE ]
#define INFINITE ]
#define THIS ]
#define PURE ]
#define ABSOLUTE ]
#define RELATIVE ]
#define OPAQUE ]
#define TRANSPARENT ]
#define ALTERNATE ]
#define WINDING ]
#define DIFFERENCE ]
#define STDCALL ]
#define CALLBACK ]
#define WINAPI ]
#undef DOMAIN
#define DOMAIN ]
#undef OVERFLOW
#define OVERFLOW ]
#undef UNDERFLOW
#define UNDERFLOW ]
#undef SING
#define SING ]
#undef PLOSS
#define PLOSS ]
#undef TLOSS
#define TLOSS ]
#define rad1 ]
#define rad2 ]
#define chx1 ]
#define edt1 ]
#define lst1 ]
#define cmb1 ]
#define scr1 ]
#define frm1 ]
#define grp1 ]
#define ico1 ]
#define stc1 ]
#define psh1 ]
#define ctl1 ]
#define Yield ]
#define GetObject ]
#define GetMessage ]
#define SendMessage ]
#define CreateWindow ]
#define CreateFile ]
#define DeleteFile ]
#define CopyFile ]
#define MoveFile ]
#define RemoveDirectory ]
#define GetCurrentTime ]
#define GetClassName ]
#define GetUserName ]
#define GetTempPath ]
#define FindText ]
#define ReplaceText ]
#define LoadString ]
#define LoadImage ]
#define DrawText ]
#define SearchPath ]
#define SetPort ]
#define AddJob ]
#define GetJob ]
#define ReportEvent ]
#define UpdateResource ]
#define CreateEvent ]
#define CreateMutex ]
#define CreateSemaphore ]
#define ZeroMemory ]
#define CopyMemory ]
#define MoveMemory ]
#define FillMemory ]
#define GetFirstChild ]
#define IsMaximized ]
#define IsMinimized ]
#define SNDMSG ]

// X.h and Xlib.h
#define Bool ]
#define Status ]
#define True ]
#define False ]
#define None ]
#define Always ]
#define Success ]
#define Complex ]
#define Convex ]
#define Nonconvex ]
#define Unsorted ]
#define YSorted ]
#define YXSorted ]
#define YXBanded ]
#define Above ]
#define Below ]
#define TopIf ]
#define BottomIf ]
#define Opposite ]
#define KeyPress ]
#define KeyRelease ]
#define ButtonPress ]
#define ButtonRelease ]
#define MotionNotify ]
#define EnterNotify ]
#define LeaveNotify ]
#define FocusIn ]
#define FocusOut ]
#define Expose ]
#define NoExpose ]
#define ClientMessage ]
#define AnyKey ]
#define AnyButton ]
#define AnyModifier ]
#define NoSymbol ]
#define CurrentTime ]
#define InputOutput ]
#define InputOnly ]
#define InputFocus ]
#define PointerRoot ]
#define ParentRelative ]
#define CopyFromParent ]
#define ShiftMask ]
#define LockMask ]
#define ControlMask ]
#define Button1 ]
#define Button2 ]
#define Button3 ]
#define BadRequest ]
#define BadValue ]
#define BadWindow ]
#define BadMatch ]
#define BadLength ]
#define BadName ]
#define WhenMapped ]
#define NotUseful ]
#define ForgetGravity ]
#define StaticGravity ]
#define CenterGravity ]
#define RaiseLowest ]
#define LowerHighest ]
#define LineSolid ]
#define CapButt ]
#define JoinMiter ]
#define FillSolid ]
#define EvenOddRule ]
#define WindingRule ]
#define ClipByChildren ]
#define ArcChord ]
#define AllocNone ]
#define AllocAll ]
#define DoRed ]
#define DoGreen ]
#define DoBlue ]
#define CursorShape ]
#define TileShape ]
#define GrayScale ]
#define StaticGray ]
#define TrueColor ]
#define PseudoColor ]
#define DirectColor ]
#define LSBFirst ]
#define MSBFirst ]
#define QueuedAlready ]
#define AllValues ]
#define XValue ]
#define YValue ]
#define WidthValue ]
#define HeightValue ]
#define NoValue ]
#define I ]

// sys/types.h and sys/sysmacros.h of C libraries, and kernels
#undef major
#define major ]
#undef minor
#define minor ]
#undef makedev
#define makedev ]
#define current ]

#include "main.cpp"  // made by compiling.cmake: includes every header
